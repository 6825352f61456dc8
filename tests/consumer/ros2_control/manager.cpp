// In place of the controller manager: the life of a controller, with the calls in the order of the manager.
//
//   manager POLICY OBSERVATIONS ACTIONS
//
// prints the first element of five actions, activates again, and prints five more.
#include <controller_interface/controller_interface.hpp>
#include <cstdlib>
#include <memory>

controller_interface::ControllerInterface* make_controller();

int main(int argc, char** argv) {
  using controller_interface::CallbackReturn;
  if (argc != 4) return 2;
  const std::unique_ptr<controller_interface::ControllerInterface> controller(make_controller());
  if (controller->on_init() != CallbackReturn::SUCCESS) return 3;
  auto& parameters = controller->get_node()->parameters;
  parameters.at("policy").text = argv[1];
  parameters.at("observations").texts.assign(static_cast<std::size_t>(std::atoi(argv[2])), "joint/position");
  parameters.at("actions").texts.assign(static_cast<std::size_t>(std::atoi(argv[3])), "joint/effort");
  if (controller->on_configure({}) != CallbackReturn::SUCCESS) return 4;
  controller->state_interfaces_.resize(controller->state_interface_configuration().names.size());
  controller->command_interfaces_.resize(controller->command_interface_configuration().names.size());
  for (auto& state : controller->state_interfaces_) state.value = 0.1F;
  for (int flight = 0; flight < 2; ++flight) {
    if (controller->on_activate({}) != CallbackReturn::SUCCESS) return 5;
    for (int tick = 0; tick < 5; ++tick) {
      if (controller->update({}, {}) != controller_interface::return_type::OK) return 6;
      std::printf("%.9g\n", controller->command_interfaces_[0].value);
    }
  }
}
