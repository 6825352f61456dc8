"""Random graphs of everything that fits together."""

from __future__ import annotations

import numpy as np
from compiler_graphs import constants, model, node

SMOOTH = ["Tanh", "Sigmoid", "Softplus", "Elu", "Selu", "Softsign", "HardSigmoid", "Identity", "Neg", "Abs", "Relu"]
PAIRS = ["Add", "Sub", "Mul", "Min", "Max", "Add", "Add"]


class Grower:
    """Grows a graph from one observation and one state."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.arrays, self.shapes = [], {}, {}
        self.sizes = {"obs": int(self.random.integers(2, 9)), "h_in": int(self.random.integers(1, 7))}
        for name, size in self.sizes.items():
            self.shapes[name] = (1, size)

    def constant(self, *shape, scale=1.0):
        name = f"k{len(self.arrays)}"
        self.arrays[name] = (self.random.normal(size=shape) * scale).astype(np.float32)
        return name

    def integers(self, *values):
        name = f"k{len(self.arrays)}"
        self.arrays[name] = np.array(values, np.int64)
        return name

    def add(self, operator, inputs, shape, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        self.shapes[name] = tuple(int(size) for size in shape)
        return name

    def pick(self, *, rank=None):
        names = [name for name, shape in self.shapes.items() if rank is None or len(shape) == rank]
        # Late ones are likely, so that the graph grows deep.
        return names[-1 - min(int(self.random.exponential(3)), len(names) - 1)]

    def rest(self, name, axis):
        return self.shapes[name][:axis] + self.shapes[name][axis + 1 :]

    def matrix(self, columns):
        """Any tensor as `[1, columns]`."""
        x = self.pick()
        flat = self.add("Reshape", [x, self.integers(1, -1)], (1, int(np.prod(self.shapes[x]))))
        size = self.shapes[flat][1]
        return self.add("MatMul", [flat, self.constant(size, columns, scale=size**-0.5)], (1, columns))

    def step(self):
        getattr(self, self.random.choice([name for name in dir(self) if name.startswith("grow_")]))()

    def grow_activation(self):
        x = self.pick()
        self.add(str(self.random.choice(SMOOTH)), [x], self.shapes[x])

    def grow_silu(self):
        x = self.pick()
        self.add("Mul", [x, self.add("Sigmoid", [x], self.shapes[x])], self.shapes[x])

    def grow_pair(self):
        x = self.pick()
        others = [name for name, shape in self.shapes.items() if shape == self.shapes[x]]
        pair = [x, str(self.random.choice(others))]
        self.random.shuffle(pair)
        y = self.add(str(self.random.choice(PAIRS)), pair, self.shapes[x])
        self.add("Tanh", [y], self.shapes[x])

    def grow_with_constant(self):
        x = self.pick()
        shape = [size if self.random.random() < 0.7 else 1 for size in self.shapes[x]]
        pair = [x, self.constant(*shape)]
        self.random.shuffle(pair)
        self.add(str(self.random.choice(PAIRS)), pair, self.shapes[x])

    def grow_linear(self):
        columns = int(self.random.integers(1, 9))
        y = self.matrix(columns)
        if self.random.random() < 0.7:
            y = self.add("Add", [y, self.constant(columns)], (1, columns))
        if self.random.random() < 0.5:
            y = self.add("Add", [self.matrix(columns), y], (1, columns))
        if self.random.random() < 0.7:
            self.add(str(self.random.choice(SMOOTH)), [y], (1, columns))

    def grow_lstm_by_hand(self):
        hidden = int(self.random.integers(1, 4))
        gates = self.add("Add", [self.matrix(4 * hidden), self.matrix(4 * hidden)], (1, 4 * hidden))
        parts = []
        for i, kind in enumerate(["Sigmoid", "Sigmoid", "Tanh", "Sigmoid"]):
            ends = [self.integers(i * hidden), self.integers((i + 1) * hidden), self.integers(1)]
            parts.append(self.add(kind, [self.add("Slice", [gates, *ends], (1, hidden))], (1, hidden)))
        cell = self.matrix(hidden)
        kept = self.add("Mul", [parts[1], cell], (1, hidden))
        fresh = self.add("Mul", [parts[0], parts[2]], (1, hidden))
        cell = self.add("Add", [kept, fresh], (1, hidden))
        if self.random.random() < 0.5:
            self.add("Neg", [cell], (1, hidden))
        self.add("Mul", [parts[3], self.add("Tanh", [cell], (1, hidden))], (1, hidden))

    def grow_reshape(self):
        x = self.pick()
        size = int(np.prod(self.shapes[x]))
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        first = int(self.random.choice(divisors))
        self.add("Reshape", [x, self.integers(1, first, size // first)], (1, first, size // first))

    def grow_transpose(self):
        x = self.pick()
        order = self.random.permutation(len(self.shapes[x]))
        self.add("Transpose", [x], [self.shapes[x][axis] for axis in order], perm=order.tolist())

    def grow_concat(self):
        rank = int(self.random.choice([2, 3]))
        if not any(len(shape) == rank for shape in self.shapes.values()):
            return
        x = self.pick(rank=rank)
        axis = int(self.random.integers(rank))
        rest = self.rest(x, axis)
        fitting = [name for name, shape in self.shapes.items() if len(shape) == rank and self.rest(name, axis) == rest]
        parts = [x, *(str(self.random.choice(fitting)) for _ in range(int(self.random.integers(1, 3))))]
        shape = list(self.shapes[x])
        shape[axis] = sum(self.shapes[name][axis] for name in parts)
        if np.prod(shape) < 200:
            self.add("Concat", parts, shape, axis=axis)

    def grow_slice(self):
        x = self.pick()
        axis = int(self.random.integers(len(self.shapes[x])))
        size = self.shapes[x][axis]
        start, step = int(self.random.integers(size)), int(self.random.integers(1, 3))
        shape = list(self.shapes[x])
        shape[axis] = -(-(size - start) // step)
        self.add("Slice", [x, *map(self.integers, (start, size, axis, step))], shape)

    def grow_gather(self):
        x = self.pick()
        axis = int(self.random.integers(len(self.shapes[x])))
        index = self.random.integers(-self.shapes[x][axis], self.shapes[x][axis], int(self.random.integers(1, 5)))
        shape = list(self.shapes[x])
        shape[axis] = len(index)
        self.add("Gather", [x, self.integers(*index)], shape, axis=axis)

    def grow_reduce(self):
        x = self.pick()
        axis = int(self.random.integers(len(self.shapes[x])))
        operator = str(self.random.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"]))
        shape = list(self.shapes[x])
        shape[axis] = 1
        self.add("Tanh", [self.add(operator, [x, self.integers(axis)], shape)], shape)

    def grow_softmax(self):
        x = self.pick()
        self.add("Softmax", [x], self.shapes[x], axis=int(self.random.integers(len(self.shapes[x]))))

    def grow_layer_norm(self):
        x = self.pick()
        size = self.shapes[x][-1]
        if size > 1:
            given = [x, self.constant(size), self.constant(size)]
            self.add("LayerNormalization", given, self.shapes[x], epsilon=0.1)

    def grow_where(self):
        x = self.pick()
        # A threshold that no value meets exactly.
        condition = self.add("Greater", [x, self.constant(1)], self.shapes[x])
        del self.shapes[condition]
        self.add("Where", [condition, x, self.constant(*self.shapes[x])], self.shapes[x])

    def model(self):
        actions, state = self.matrix(3), self.matrix(self.sizes["h_in"])
        self.nodes += [node("Identity", [actions], ["actions"]), node("Tanh", [state], ["h_out"])]
        inputs = {name: [1, size] for name, size in self.sizes.items()}
        return model(
            self.nodes,
            inputs,
            {"actions": [1, 3], "h_out": [1, self.sizes["h_in"]]},
            constants(**self.arrays),
            opset=18,
        )


def grown(seed):
    """A graph of 5 to 59 operators."""
    grower = Grower(seed)
    for _ in range(int(grower.random.integers(5, 60))):
        grower.step()
    return grower.model()
