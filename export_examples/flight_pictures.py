"""Pictures of flights, rendered by MuJoCo where this machine can do so without a screen.

    python export_examples/flight_pictures.py positions.npy folder

renders `positions` `[frames, 2]` (cart position in m, pole angle in rad) to `folder/<frame>.webp`. It is a program of
its own because MuJoCo takes its OpenGL when it is imported, and because a graphics driver that is no good ends a
program without a word.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 480, 274
_TIMEOUT_S = 40.0
_LIBRARIES = ("egl", "osmesa")
"""What MuJoCo can draw with where there is no screen, on Linux: software will do."""


def rendered(positions: NDArray[np.float64]) -> tuple[list[bytes], str]:
    """Renders a cart with its pole.

    Args:
        positions: `[frames, 2]`, cart position (m) and pole angle (rad).

    Returns:
        WebP pictures, and what rendered them; none, and why, where nothing can.
    """
    given = os.environ.get("MUJOCO_GL")
    reason = ""
    for library in (given,) if given else _LIBRARIES if sys.platform == "linux" else ("",):
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "positions.npy", positions)
            command = [sys.executable, str(Path(__file__).resolve()), str(Path(folder) / "positions.npy"), folder]
            environment = {**os.environ, **({"MUJOCO_GL": library} if library else {})}
            try:
                ran = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
                )
            except subprocess.TimeoutExpired:
                return [], f"MuJoCo took longer than {_TIMEOUT_S:g} s"
            if ran.returncode == 0:
                pictures = [(Path(folder) / f"{frame}.webp").read_bytes() for frame in range(len(positions))]
                return pictures, f"MuJoCo ({library})" if library else "MuJoCo"
            said = ran.stderr.strip().splitlines()
            reason = f"MuJoCo found nothing to draw with ({said[-1] if said else f'it ended with {ran.returncode}'})"
    return [], reason


def _render(positions: NDArray[np.float64], folder: Path) -> None:
    import cartpole
    import mujoco
    from PIL import Image

    spec = mujoco.MjSpec.from_file(str(cartpole.MODEL_FILE))
    spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
    spec.visual.headlight.ambient = [0.45] * 3
    spec.visual.headlight.diffuse = [0.55] * 3
    # The pole is 12 mm thick: two pixels. It is drawn thicker.
    spec.geom("pole").size[0] = 0.018
    spec.geom("cart").size = [0.14, 0.09, 0.06]
    spec.geom("rail").size[0] = 0.022
    spec.geom("rail").rgba = [0.62, 0.66, 0.71, 1.0]
    spec.geom("cart").rgba = [0.16, 0.42, 0.68, 1.0]
    spec.geom("pole").rgba = [0.93, 0.52, 0.20, 1.0]
    world = spec.worldbody
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.30, 0.38, 0.48],
        rgb2=[0.07, 0.09, 0.13],
        width=64,
        height=64,
    )
    ends = {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": [0.03, 0.07, 0.07], "rgba": [0.45, 0.49, 0.55, 1.0]}
    for side in (-1.5, 1.5):
        world.add_geom(pos=[side, 0.0, 1.0], **ends)
    model = spec.compile()
    data = mujoco.MjData(model)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (0.0, 0.0, 1.08)
    camera.azimuth, camera.elevation, camera.distance = 90.0, -7.0, 2.65
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        for frame, position in enumerate(positions):
            data.qpos[:] = position
            mujoco.mj_kinematics(model, data)
            mujoco.mj_camlight(model, data)
            renderer.update_scene(data, camera)
            Image.fromarray(renderer.render()).save(folder / f"{frame}.webp", quality=80, method=2)


if __name__ == "__main__":
    _render(np.load(sys.argv[1]), Path(sys.argv[2]))
