// How files without a contract are read: small ONNX graphs put together here, and what is recognised, found and
// refused.

#include "io/onnx/reading.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <ganglion/policy.hpp>
#include <limits>
#include <string>
#include <variant>

#include "check.hpp"
#include "io/bytes.hpp"
#include "io/dialects.hpp"
#include "io/hints.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::ErrorCode;
using ganglion::Reading;
using ganglion::ReadingHints;
using ganglion::detail::as_bytes;
using ganglion::detail::parse_hints;

using Pairs = std::vector<std::pair<std::string, std::string>>;

const fs::path artifacts = GANGLION_ARTIFACTS;

/// A protobuf message; field numbers are those of onnx.proto3.
class Message {
 public:
  Message& number(unsigned field, std::uint64_t value) {
    varint(field << 3U);
    varint(value);
    return *this;
  }
  Message& text(unsigned field, std::string_view value) {
    varint(field << 3U | 2U);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(unsigned field, const Message& value) { return text(field, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    constexpr std::uint64_t low = 0x7F;
    for (; value > low; value >>= 7U) bytes_ += static_cast<char>((value & low) | 0x80U);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

constexpr unsigned float32 = 1;
constexpr unsigned int32 = 6;
constexpr unsigned int64 = 7;
constexpr unsigned float64 = 11;

/// A dynamic axis is a name.
using Axis = std::variant<int, const char*>;

Message port(std::string_view name, const std::vector<Axis>& shape, unsigned type = float32) {
  Message axes;
  for (const Axis& axis : shape) {
    const int* const size = std::get_if<int>(&axis);
    axes.message(1, size != nullptr ? Message().number(1, static_cast<std::uint64_t>(*size))
                                    : Message().text(2, std::get<const char*>(axis)));
  }
  const Message tensor = Message().number(1, type).message(2, axes);
  return Message().text(1, name).message(2, Message().message(1, tensor));
}

Message integer(std::string_view name, std::uint64_t value) {
  return Message().text(1, name).number(3, value).number(20, 2);
}

Message node(std::string_view op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
             const std::vector<Message>& attributes = {}) {
  Message message;
  for (const std::string& input : inputs) message.text(1, input);
  for (const std::string& output : outputs) message.text(2, output);
  message.text(3, "the_" + std::string(op)).text(4, op);
  for (const Message& attribute : attributes) message.message(5, attribute);
  return message;
}

Message vector(std::string_view name, const std::vector<float>& values) {
  std::string raw(values.size() * sizeof(float), '\0');
  std::memcpy(raw.data(), values.data(), raw.size());
  return Message().number(1, values.size()).number(2, float32).text(8, name).text(9, raw);
}

struct Model {
  std::vector<Message> nodes;
  std::vector<Message> weights;
  std::vector<Message> inputs;
  std::vector<Message> outputs;

  [[nodiscard]] std::string bytes() const {
    Message graph;
    for (const Message& part : nodes) graph.message(1, part);
    graph.text(2, "policy");
    for (const Message& part : weights) graph.message(5, part);
    for (const Message& part : inputs) graph.message(11, part);
    for (const Message& part : outputs) graph.message(12, part);
    return Message().number(1, 8).text(2, "hand").message(7, graph).message(8, Message().number(2, 17)).bytes();
  }
};

/// An LSTM as rsl_rl's exporter names it; the weights' values do not matter for reading.
Model lstm() {
  return {{node("LSTM", {"obs", "w", "r", "", "", "h_in", "c_in"}, {"actions", "h_out", "c_out"})},
          {vector("w", {0.5F}), vector("r", {0.25F})},
          {port("obs", {1, 5}), port("h_in", {2, 1, 8}), port("c_in", {2, 1, 8})},
          {port("actions", {1, 3}), port("h_out", {2, 1, 8}), port("c_out", {2, 1, 8})}};
}

/// A state whose names say nothing and no recurrent node links.
Model plain(const std::string& input, const std::vector<std::string>& outputs) {
  Model model{{node("Add", {"obs", input}, {"actions"})},
              {},
              {port("obs", {1, 4}), port(input, {1, 4})},
              {port("actions", {1, 4})}};
  for (const std::string& output : outputs) {
    model.nodes.push_back(node("Mul", {"obs", input}, {output}));
    model.outputs.push_back(port(output, {1, 4}));
  }
  return model;
}

Reading read(const Model& model, const ReadingHints& hints = {}) {
  return ganglion::detail::read_foreign_onnx(as_bytes(model.bytes()), artifacts, hints);
}

bool has_finding(const Reading& reading, std::string_view code, std::string_view part) {
  return std::any_of(reading.findings.begin(), reading.findings.end(), [&](const ganglion::Finding& finding) {
    return finding.code == code && check::contains(finding.sentence, part);
  });
}

bool has_note(const Reading& reading, std::string_view part) {
  return std::any_of(reading.notes.begin(), reading.notes.end(),
                     [part](const std::string& note) { return check::contains(note, part); });
}

}  // namespace

TEST_CASE("an LSTM with rsl_rl's names: two slots, one observation, one action") {
  const Reading reading = read(lstm());
  CHECK_EQUAL(reading.dialect, "rsl_rl");
  CHECK_EQUAL(reading.contract.observation_size(), 5U);
  CHECK_EQUAL(reading.contract.action_size(), 3U);
  CHECK_EQUAL(reading.contract.state.size(), 2U);
  CHECK_EQUAL(reading.contract.state[0].name, "h");
  CHECK((reading.contract.state[0].shape == std::vector<std::size_t>{2, 8}));
  CHECK_EQUAL(reading.contract.state[1].name, "c");
  CHECK((reading.contract.initial_state == std::vector<float>(32, 0.0F)));
  CHECK_EQUAL(reading.state[1].input, "c_in");
  CHECK_EQUAL(reading.state[1].output, "c_out");
  CHECK(has_note(reading,
                 "input h_in pairs with output h_out (by their names; the connections of the graph agree): LSTM hidden "
                 "state, 2 layers, 8 units; initial value zeros, not stated in the file"));
  CHECK(reading.findings.empty());
}

TEST_CASE("names that say nothing pair by the connections of a recurrent node") {
  Model model = lstm();
  model.nodes = {node("LSTM", {"x", "w", "r", "", "", "a", "b"}, {"y", "p", "q"})};
  model.inputs = {port("x", {1, 5}), port("b", {1, 1, 8}), port("a", {1, 1, 8})};
  model.outputs = {port("q", {1, 1, 8}), port("y", {1, 3}), port("p", {1, 1, 8})};
  const Reading reading = read(model);
  CHECK_EQUAL(reading.dialect, "unknown");
  CHECK_EQUAL(reading.contract.outputs[0].name, "y");
  CHECK_EQUAL(reading.state[0].input, "b");
  CHECK_EQUAL(reading.state[0].output, "q");
  CHECK_EQUAL(reading.state[1].output, "p");
  CHECK(has_note(reading, "input a pairs with output p (by the connections of the graph)"));
}

TEST_CASE("what contradicts itself is refused with both readings") {
  Model crossed = lstm();
  crossed.nodes = {node("LSTM", {"obs", "w", "r", "", "", "h_in", "c_in"}, {"actions", "c_out", "h_out"})};
  CHECK_ERROR(read(crossed), ErrorCode::bad_contract, "h_in:h_out by the names, or h_in:c_out by the connections");
  CHECK_ERROR(read(crossed), ErrorCode::bad_contract, "[state-ambiguous]");
  CHECK_ERROR(read(plain("memory", {"one", "two"})), ErrorCode::bad_contract, "memory:one, or memory:two");
  CHECK_EQUAL(read(plain("memory", {"one"})).state.at(0).output, "one");
}

TEST_CASE("the user's word goes before names, shapes and connections") {
  ReadingHints hints;
  hints.state = Pairs{{"memory", "two"}};
  const Reading reading = read(plain("memory", {"one", "two"}), hints);
  CHECK_EQUAL(reading.state.at(0).output, "two");
  CHECK_EQUAL(reading.contract.outputs.size(), 2U);
  CHECK(has_note(reading, "as you said"));
  hints.state = Pairs{{"memory", "three"}};
  CHECK_ERROR(read(plain("memory", {"one"}), hints), ErrorCode::bad_contract, "[state-unknown]");
  hints.state = Pairs{{"h_in", "actions"}};
  CHECK_ERROR(read(lstm(), hints), ErrorCode::bad_contract, "[state-shape]");
  hints.state.emplace();  // none: both inputs are observations
  CHECK_EQUAL(read(plain("memory", {"one"}), hints).contract.observation_size(), 8U);
  hints = {};
  hints.constants["nowhere"] = 1.0;
  CHECK_ERROR(read(lstm(), hints), ErrorCode::bad_contract, "[constant-unknown]");
}

TEST_CASE("a state that is never fed is refused") {
  Model model = lstm();
  model.outputs.pop_back();
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "input 'c_in' looks like a state");
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[state-not-fed]");
  CHECK_ERROR(read(plain("hidden", {})), ErrorCode::bad_contract, "[state-not-fed]");
}

TEST_CASE("defects are found, and only where they are") {
  Model gru{{node("GRU", {"obs", "w", "r", "", "", "h_in"}, {"actions", "h_out"})},
            {vector("w", {0.5F}), vector("r", {0.25F})},
            {port("obs", {1, 5}), port("h_in", {1, 1, 8})},
            {port("actions", {1, 3}), port("h_out", {1, 1, 8})}};
  CHECK(has_finding(read(gru), "gru-linear-before-reset", "'the_GRU' has linear_before_reset 0"));
  const std::vector<std::string> inputs{"obs", "w", "r", "", "", "h_in"};
  gru.nodes = {node("GRU", inputs, {"actions", "h_out"}, {integer("linear_before_reset", 1)})};
  CHECK(read(gru).findings.empty());

  Model normalised = lstm();
  normalised.nodes.push_back(node("Add", {"std", "eps"}, {"divisor"}));
  normalised.nodes.push_back(node("Div", {"obs", "divisor"}, {"normalised"}));
  normalised.weights.push_back(vector("eps", {0.0F}));
  normalised.weights.push_back(vector("std", {1.0F, 0.0F, 2.0F, 1.0F, -1.0F}));
  CHECK(has_finding(read(normalised), "normaliser-zero-variance", "'std', which is not positive in 2 elements (1, 4)"));
  normalised.weights.back() = vector("std", {1.0F, 0.5F, 2.0F, 1.0F, 3.0F});
  CHECK(read(normalised).findings.empty());

  Model idle = plain("memory", {});
  idle.nodes.push_back(node("Identity", {"memory"}, {"memory_out"}));
  idle.outputs.push_back(port("memory_out", {1, 4}));
  CHECK(has_finding(read(idle), "state-constant", "'memory_out'"));
}

TEST_CASE("a recurrent node that starts from a constant is found, with what it forgets") {
  // Weights [1, 4 * hidden, inputs] say how many observations a node takes in one step.
  const Message w = Message().number(1, 1).number(1, 8).number(1, 5).number(2, float32).text(8, "w");
  const Message size = integer("hidden_size", 2);
  const std::vector<Message> zeros{node("Shape", {"obs"}, {"shape"}), node("ConstantOfShape", {"shape"}, {"zeros"})};
  struct Case {
    std::vector<std::string> inputs;
    const char* says;  ///< empty: nothing is wrong
  };
  const std::array cases{
      Case{{"x", "w", "r"}, "'the_LSTM' starts from a constant in every step: the net remembers nothing between steps"},
      Case{{"x", "w", "r", "", "", "zero", "zero"}, "(h_in -> h_out, c_in -> c_out)"},
      Case{{"x", "w", "r", "", "", "zeros", "zeros"}, "starts from a constant"},
      Case{{"x", "w", "r", "", "", "h_in"}, "is given its hidden state, but its cell state starts from a constant"},
      Case{{"x", "w", "r", "", "", "h_in", "zeros"}, "is given its hidden state, but its cell state"},
      Case{{"x", "w", "r", "", "", "", "h_in"}, "is given its cell state, but its hidden state"},
      Case{{"x", "w", "r", "", "", "h_in", "h_in"}, ""},
  };
  for (const auto& [inputs, says] : cases) {
    Model model{zeros,
                {w, vector("r", {1.0F}), vector("zero", {0.0F})},
                {port("obs", {1, 5}), port("h_in", {1, 1, 2})},
                {port("actions", {1, 1, 1, 2}), port("h_out", {1, 1, 2})}};
    model.nodes.push_back(node("Unsqueeze", {"obs"}, {"x"}));
    model.nodes.push_back(node("LSTM", inputs, {"actions", "y", "c"}, {size}));
    model.nodes.push_back(node("Add", {"y", "h_in"}, {"h_out"}));
    ReadingHints hints;
    hints.state = Pairs{{"h_in", "h_out"}};
    const Reading reading = read(model, hints);
    const std::string_view wanted = says;
    CHECK_EQUAL(reading.findings.size(), wanted.empty() ? 0U : 1U);
    if (!wanted.empty()) CHECK(has_finding(reading, "state-forgotten", wanted));
  }
}

TEST_CASE("a window inside of one step is told from a single observation") {
  const Message w = Message().number(1, 1).number(1, 6).number(1, 6).number(2, float32).text(8, "w");
  const std::vector<Message> attributes{integer("hidden_size", 2), integer("linear_before_reset", 1)};
  const auto gru = [&](const std::vector<std::string>& inputs) {
    return Model{{node("Transpose", {"obs"}, {"x"}), node("GRU", inputs, {"actions", "h_out"}, attributes)},
                 {w, vector("r", {1.0F})},
                 {port("obs", {1, 10, 6})},
                 {port("actions", {10, 1, 1, 2})}};
  };
  const Model window = gru({"x", "w", "r"});
  CHECK(has_finding(read(window), "state-forgotten", "reads a window of 10 observations in every step"));
  Model fed = gru({"x", "w", "r", "", "", "h_in"});
  fed.inputs.push_back(port("h_in", {1, 1, 2}));
  fed.outputs.push_back(port("h_out", {1, 1, 2}));
  CHECK(has_finding(read(fed), "window-with-state", "runs over a sequence of length 10"));
  CHECK_EQUAL(read(fed).findings.size(), 1U);
  fed.inputs[0] = port("obs", {1, 1, 6});
  CHECK(read(fed).findings.empty());
  fed.inputs[0] = port("obs", {"batch", "time", 6});  // a dynamic time axis is one step long
  CHECK(read(fed).findings.empty());
}

TEST_CASE("a state that only goes through is the exporter's") {
  Model model = plain("state_ins", {});
  model.nodes = {node("Abs", {"obs"}, {"actions"}), node("Identity", {"state_ins"}, {"state_outs"})};
  model.outputs.push_back(port("state_outs", {1, 4}));
  const Reading reading = read(model);
  CHECK(reading.findings.empty());
  CHECK(has_note(reading, "input state_ins goes straight through to output state_outs and is used for nothing"));
  model.nodes[0] = node("Add", {"obs", "state_ins"}, {"actions"});
  CHECK(has_finding(read(model), "state-constant", "'state_outs'"));
}

TEST_CASE("a quantised LSTM keeps its state as any other") {
  Model model = lstm();
  model.nodes = {node("DynamicQuantizeLSTM", {"obs", "w", "r", "", "", "a", "b"}, {"actions", "p", "q"})};
  model.inputs = {port("obs", {1, 5}), port("a", {2, 1, 8}), port("b", {2, 1, 8})};
  model.outputs = {port("actions", {1, 3}), port("p", {2, 1, 8}), port("q", {2, 1, 8})};
  const Reading reading = read(model);
  CHECK_EQUAL(reading.state.at(1).output, "q");
  CHECK(reading.findings.empty());
}

/// The cell state of an LSTM written out: c' = f c + i, h' = o tanh(c'), the action from h'.
Model cell(const std::array<const char*, 3>& inputs, const std::array<const char*, 3>& outputs) {
  const std::string x = inputs[0];
  const std::string h = inputs[1];
  const std::string c = inputs[2];
  const std::string h2 = outputs[0];
  const std::string c2 = outputs[1];
  Model model{{node("Gemm", {x, "w"}, {"xw"}), node("Gemm", {h, "w"}, {"hw"}), node("Add", {"xw", "hw"}, {"gates"}),
               node("Sigmoid", {"gates"}, {"f"}), node("Mul", {"f", c}, {"fc"}), node("Add", {"fc", "gates"}, {c2}),
               node("Tanh", {c2}, {"t"}), node("Mul", {"f", "t"}, {h2}), node("Gemm", {h2, "w"}, {outputs[2]})},
              {vector("w", {1.0F})},
              {},
              {}};
  for (const char* name : inputs) model.inputs.push_back(port(name, {1, name == x ? 5 : 4}));
  for (const char* name : outputs) model.outputs.push_back(port(name, {1, 4}));
  return model;
}

TEST_CASE("a cell that is written out keeps its state, under any name and in any order") {
  const Reading opaque = read(cell({"x", "p", "q"}, {"a", "b", "y"}));
  CHECK_EQUAL(opaque.state.size(), 2U);
  CHECK(opaque.state.at(0).input == "p" && opaque.state.at(0).output == "a");
  CHECK(opaque.state.at(1).input == "q" && opaque.state.at(1).output == "b");
  CHECK_EQUAL(opaque.contract.outputs[0].name, "y");
  CHECK(has_note(opaque, "input q pairs with output b (by the gates of the cell that they are part of)"));
  const Reading named = read(cell({"obs", "c0", "h0"}, {"cn", "hn", "actions"}));
  CHECK(named.state.at(0).input == "c0" && named.state.at(0).output == "cn");
  CHECK(has_note(named, "by their names, and the graph agrees"));
  // An observation of the size of the state might be the hidden state, too.
  Model square = cell({"x", "p", "q"}, {"a", "b", "y"});
  square.inputs[0] = port("x", {1, 4});
  CHECK_ERROR(read(square), ErrorCode::bad_contract, "[state-ambiguous]");
}

TEST_CASE("names are plain to a reader") {
  using ganglion::detail::successor_rank;
  using Names = std::pair<const char*, const char*>;
  for (const auto& [before, after] : {Names{"hx", "hy"},
                                      {"lstm_h", "lstm_h_out"},
                                      {"h", "next_h"},
                                      {"h", "new_h"},
                                      {"h_prev", "h"},
                                      {"hiddenIn", "hiddenOut"},
                                      {"hin", "hout"},
                                      {"h", "hn"}}) {
    CHECK_EQUAL(successor_rank(before, after), 2);
  }
  for (const auto& [before, after] : {Names{"h0", "hn"}, {"h_0", "h_n"}, {"m0", "m1"}, {"h_t", "h_t_1"}}) {
    CHECK_EQUAL(successor_rank(before, after), 1);
  }
  for (const auto& [before, after] : {Names{"in_0", "out_0"},
                                      {"input_1", "output_1"},
                                      {"x", "y"},
                                      {"h", "c"},
                                      {"x1", "x2"},
                                      {"0", "1"},
                                      {"h0", "c0_out"}}) {
    CHECK_EQUAL(successor_rank(before, after), 0);
  }
}

TEST_CASE("what may be a state and may be none is asked with the option to give") {
  Model model = plain("in_1", {"out_1"});
  model.outputs[0] = port("out_0", {1, 4});
  model.nodes[0] = node("Add", {"obs", "obs"}, {"out_0"});
  CHECK_ERROR(read(model), ErrorCode::bad_contract,
              "say what they are: --state in_1:out_1, or, where there is no state, --state none [state-ambiguous]");
  ReadingHints hints;
  hints.state = Pairs{};
  CHECK(read(model, hints).state.empty());
  // The action that was named is no state, and a critic's output no action.
  hints = {};
  hints.action = "out_1";
  CHECK(read(model, hints).state.empty());
  model.outputs[0] = port("value", {1, 4});
  model.nodes[0] = node("Add", {"obs", "obs"}, {"value"});
  CHECK(read(model).state.empty());
  CHECK_EQUAL(read(model).contract.outputs[0].name, "out_1");
}

TEST_CASE("what is zero depends on nothing, and a critic is not commanded silently") {
  Model model{{node("Mul", {"obs", "zero"}, {"first"}), node("Abs", {"obs"}, {"second"})},
              {vector("zero", {0.0F, 0.0F, 0.0F, 0.0F})},
              {port("obs", {1, 4})},
              {port("first", {1, 4}), port("second", {1, 4})}};
  CHECK_EQUAL(read(model).contract.outputs[0].name, "second");
  model.outputs.pop_back();
  CHECK(has_finding(read(model), "action-constant", "'first'"));
  model.nodes[0] = node("Neg", {"obs"}, {"values"});
  model.outputs[0] = port("values", {1, 4});
  CHECK(has_finding(read(model), "action-critic", "'values'"));
  ReadingHints hints;
  hints.action = "values";
  CHECK(read(model, hints).findings.empty());
}

TEST_CASE("the batch of a state with three axes is the one of the observation") {
  ReadingHints hints;
  hints.state = Pairs{{"memory", "memory_out"}};
  const auto slot = [&](const std::vector<Axis>& shape) {
    Model model = plain("memory", {"memory_out"});
    model.inputs[1] = port("memory", shape);
    model.outputs[1] = port("memory_out", shape);
    return read(model, hints).contract.state.at(0).shape;
  };
  CHECK(slot({1, 4, 6}) == std::vector<std::size_t>{24});
  CHECK(slot({2, 1, 6}) == (std::vector<std::size_t>{2, 6}));
  CHECK(slot({1, 1, 6}) == (std::vector<std::size_t>{1, 6}));
}

TEST_CASE("bad weights, types and shapes are refused") {
  Model model = lstm();
  model.weights[1] = vector("r", {1.0F, std::numeric_limits<float>::quiet_NaN()});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "element 1 of 'r' is NaN");
  model.weights[1] = vector("r", {1.0F, std::numeric_limits<float>::infinity()});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[weights-not-finite]");
  model.weights[1] = vector("r", {0.0F, -std::numeric_limits<float>::infinity()});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[weights-not-finite]");

  const auto lying_in = [](std::string_view file) {
    return Message()
        .number(1, 1)
        .number(2, float32)
        .text(8, "r")
        .number(14, 1)
        .message(13, Message().text(1, "location").text(2, file));
  };
  model.weights[1] = lying_in("not_there.data");
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[weights-missing]");
  for (const char* outside : {"../lstm.onnx", "/etc/hosts", "a/../../b"}) {
    model.weights[1] = lying_in(outside);
    CHECK_ERROR(read(model), ErrorCode::bad_contract, "[weights-outside]");
  }

  model = lstm();
  model.inputs[0] = port("obs", {1, 5}, float64);
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[input-type]");
  model.inputs[0] = port("obs", {1, "n"});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "only batch and time may be dynamic");
  model.inputs[0] = port("obs", {1, 0});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[shape]");
  model.inputs[0] = port("obs", {1, 1 << 30});
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[shape]");
  model.inputs.erase(model.inputs.begin());
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[no-observation]");
}

TEST_CASE("inputs that are no observation: a sequence length, a reset mark, a counter of steps") {
  Model model = lstm();
  model.inputs.push_back(port("seq_lens", {1}, int32));
  Reading reading = read(model);
  CHECK_EQUAL(reading.constants.at("seq_lens"), 1.0);
  CHECK_EQUAL(reading.contract.inputs.size(), 1U);
  ReadingHints hints;
  hints.constants["seq_lens"] = 4.0;
  reading = read(model, hints);
  CHECK_EQUAL(reading.constants.at("seq_lens"), 4.0);
}

TEST_CASE("flags of an episode are no observation, whatever their type") {
  for (const char* name : {"dones", "done", "is_first", "is_init", "episode_starts"}) {
    Model model = lstm();
    model.inputs.push_back(port(name, {1}));
    CHECK_EQUAL(read(model).constants.at(name), 0.0);
    model.inputs.back() = port(name, {"batch", 1});
    CHECK_EQUAL(read(model).contract.observation_size(), 5U);
  }
  Model model = lstm();
  model.inputs.push_back(port("seq_lens", {1}));
  model.inputs.push_back(port("action_masks", {1, 7}));
  const Reading reading = read(model);
  CHECK_EQUAL(reading.constants.at("seq_lens"), 1.0);
  CHECK_EQUAL(reading.constants.at("action_masks"), 1.0);
  // RLlib's exporter gives the name of the lengths to a cell state.
  model = lstm();
  model.inputs[2] = port("seq_lens", {2, 1, 8});
  model.nodes = {node("LSTM", {"obs", "w", "r", "", "", "h_in", "seq_lens"}, {"actions", "h_out", "c_out"})};
  CHECK_EQUAL(read(model).state.at(1).input, "seq_lens");
}

TEST_CASE("the action is what depends on an observation, and is called so") {
  // As ML-Agents writes it: constants, what is drawn, and its mean.
  Model model{{node("Identity", {"three"}, {"version_number"}), node("Identity", {"three"}, {"memory_size"}),
               node("Tanh", {"obs_0"}, {"deterministic_continuous_actions"}),
               node("RandomNormalLike", {"deterministic_continuous_actions"}, {"z"}),
               node("Add", {"deterministic_continuous_actions", "z"}, {"continuous_actions"})},
              {vector("three", {3.0F})},
              {port("obs_0", {"batch", 4})},
              {port("version_number", {1}), port("memory_size", {1}), port("continuous_actions", {"batch", 4})}};
  Reading reading = read(model);
  CHECK_EQUAL(reading.dialect, "mlagents");
  CHECK_EQUAL(reading.contract.outputs.size(), 1U);
  CHECK_EQUAL(reading.contract.outputs[0].name, "continuous_actions");
  CHECK(has_finding(reading, "random-node", "'the_RandomNormalLike' (RandomNormalLike)"));
  model.outputs.push_back(port("deterministic_continuous_actions", {"batch", 4}));
  reading = read(model);
  CHECK_EQUAL(reading.contract.outputs[0].name, "deterministic_continuous_actions");
  CHECK(reading.findings.empty());
  CHECK(has_note(reading, "output version_number is the constant 3 and is not read"));

  // A name says nothing against that.
  Model unnamed{{node("Identity", {"three"}, {"a"}), node("Abs", {"x"}, {"b"})},
                {vector("three", {3.0F})},
                {port("x", {1, 4})},
                {port("a", {1}), port("b", {1, 4})}};
  CHECK_EQUAL(read(unnamed).contract.outputs[0].name, "b");
  unnamed.nodes[0] = node("Shape", {"x"}, {"shape"});
  unnamed.nodes.push_back(node("ConstantOfShape", {"shape"}, {"a"}));
  unnamed.outputs[0] = port("a", {1, 4});
  CHECK_EQUAL(read(unnamed).contract.outputs[0].name, "b");
  CHECK_EQUAL(read(unnamed).contract.outputs[1].name, "a");
  // Nodes may stand in any order.
  std::swap(unnamed.nodes[0], unnamed.nodes[2]);
  CHECK_EQUAL(read(unnamed).contract.outputs[0].name, "b");
  unnamed.nodes.erase(unnamed.nodes.begin() + 1);  // nothing makes b
  reading = read(unnamed);
  CHECK_EQUAL(reading.contract.outputs[0].name, "a");
  CHECK(has_finding(reading, "action-constant", "the action 'a' is the constant"));
}

TEST_CASE("what inner graphs take from outside counts, their own names do not") {
  // Its branches call their result as the node does.
  const Message branch = Message().message(1, node("Mul", {"obs", "h_in"}, {"h_out"})).text(2, "branch");
  const Message then = Message().text(1, "then_branch").message(6, branch).number(20, 5);
  Model model{{node("If", {"yes"}, {"h_out"}, {then}), node("Abs", {"obs"}, {"actions"})},
              {vector("yes", {1.0F})},
              {port("obs", {1, 4}), port("h_in", {1, 4})},
              {port("actions", {1, 4}), port("h_out", {1, 4})}};
  CHECK(read(model).findings.empty());
  const Message draw = Message().message(1, node("RandomUniform", {}, {"h_out"})).text(2, "branch");
  model.nodes[0] = node("If", {"yes"}, {"actions"}, {Message().text(1, "then_branch").message(6, draw).number(20, 5)});
  model.nodes[1] = node("Abs", {"h_in"}, {"h_out"});
  CHECK(has_finding(read(model), "random-node", "(If)"));
}

TEST_CASE("discrete actions are indices") {
  Model model{{node("ArgMax", {"x"}, {"discrete_actions"}), node("Abs", {"x"}, {"logits"})},
              {},
              {port("x", {"batch", 4})},
              {port("logits", {"batch", 4}), port("discrete_actions", {"batch", 1}, int64)}};
  const Reading reading = read(model);
  CHECK_EQUAL(reading.contract.outputs[0].name, "discrete_actions");
  CHECK_EQUAL(reading.contract.outputs[1].name, "logits");
  CHECK(has_note(reading, "1 index"));
  model.nodes.push_back(node("Cast", {"x"}, {"actions"}));
  model.outputs[1] = port("actions", {"batch", 4}, float64);
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[output-type]");
}

TEST_CASE("the user says which output is the action") {
  Model model = lstm();
  model.nodes.push_back(node("Abs", {"obs"}, {"velocity"}));
  model.outputs.push_back(port("velocity", {1, 5}));
  ReadingHints hints;
  CHECK_EQUAL(read(model).contract.outputs[0].name, "actions");
  hints.action = "velocity";
  const Reading reading = read(model, hints);
  CHECK_EQUAL(reading.contract.outputs[0].name, "velocity");
  CHECK_EQUAL(reading.contract.outputs[1].name, "actions");
  CHECK(has_note(reading, "as you said"));
  hints.action = "speed";
  CHECK_ERROR(read(model, hints), ErrorCode::bad_contract, "are 'actions', 'velocity' [action-unknown]");
  hints.action = "h_out";
  CHECK_ERROR(read(model, hints), ErrorCode::bad_contract, "'h_out' is the next value of a state");
  CHECK_EQUAL(parse_hints("action: velocity\nstate: {}\n", "walker.onnx.yaml").action.value_or(""), "velocity");
  CHECK_ERROR(parse_hints("action:\n", "walker.onnx.yaml"), ErrorCode::bad_option, "unknown entry");
  CHECK_ERROR(parse_hints("action: a\n  b: c\n", "walker.onnx.yaml"), ErrorCode::bad_option, "belongs to no map");
}

TEST_CASE("a graph with more inputs than any policy is refused") {
  Model model = lstm();
  for (int i = 0; i < 1100; ++i) model.inputs.push_back(port("x" + std::to_string(i), {1, 1}));
  CHECK_ERROR(read(model), ErrorCode::bad_contract, "[too-many-inputs]");
}

TEST_CASE("a dynamic batch axis leaves the number of rows to the user") {
  Model model = lstm();
  model.inputs = {port("obs", {"batch", 5}), port("h_in", {2, "batch", 8}), port("c_in", {2, "batch", 8})};
  model.outputs = {port("actions", {"batch", 3}), port("h_out", {2, "batch", 8}), port("c_out", {2, "batch", 8})};
  CHECK(!read(model).contract.batch.has_value());
  CHECK_EQUAL(read(lstm()).contract.batch.value_or(0), 1U);
}

TEST_CASE("the file beside a policy: two maps, and nothing else") {
  const ReadingHints hints = parse_hints(
      "# as I trained it\nstate:\n  h_in: h_out\n  'out_state.1': \"hidden_state.1\"  # quoted\nconstants:\n"
      "  seq_lens: 1\n",
      "walker.onnx.yaml");
  CHECK_EQUAL(hints.state->size(), 2U);
  CHECK_EQUAL(hints.state->at(1).first, "out_state.1");
  CHECK_EQUAL(hints.state->at(1).second, "hidden_state.1");
  CHECK_EQUAL(hints.constants.at("seq_lens"), 1.0);
  CHECK(!parse_hints("", "empty").state.has_value());
  for (const char* text : {"state:\n  a: b\n  a: c\n", "state:\n  a: b\nstate: {}\n", "action: a\naction: b\n",
                           "constants:\n  a: 1\n  \"a\": 2\n"}) {
    CHECK_ERROR(parse_hints(text, "walker.onnx.yaml"), ErrorCode::bad_option, "is there twice");
  }
  CHECK(parse_hints("state: {}\n", "none").state->empty());
  struct Refused {
    const char* text;
    const char* says;
  };
  constexpr std::array refused{
      Refused{"state:\n  h_in\n", "line 2: no 'name: value'"},
      Refused{"states:\n", "line 1: unknown entry"},
      Refused{"  h_in: h_out\n", "before the first map"},
      Refused{"constants:\n  n: many\n", "'many' is no number"},
      Refused{"state: !!python/object:x\n", "tags are not read"},
  };
  for (const auto& [text, says] : refused) {
    CHECK_ERROR(parse_hints(text, "walker.onnx.yaml"), ErrorCode::bad_option, says);
    CHECK_ERROR(parse_hints(text, "walker.onnx.yaml"), ErrorCode::bad_option, "'walker.onnx.yaml'");
  }
}

TEST_CASE("explain reads a file of rsl_rl, and the file beside it") {
  const Reading reading = ganglion::explain(artifacts / "rsl_rl_lstm.onnx");
  CHECK_EQUAL(reading.dialect, "rsl_rl");
  CHECK_EQUAL(reading.state.size(), 2U);
  CHECK(check::contains(reading.to_json(), "\"dialect\":\"rsl_rl\""));
  CHECK_EQUAL(ganglion::explain(artifacts / "lstm.onnx").dialect, "ganglion");

  const fs::path folder = fs::temp_directory_path() / "ganglion_reading_test";
  fs::create_directories(folder);
  fs::copy_file(artifacts / "rsl_rl_lstm.onnx", folder / "walker.onnx", fs::copy_options::overwrite_existing);
  std::ofstream(folder / "walker.onnx.yaml") << "state:\n  h_in: nowhere\n  c_in: c_out\n";
  CHECK_ERROR(ganglion::explain(folder / "walker.onnx"), ErrorCode::bad_contract, "[state-unknown]");
  ganglion::LoadOptions options;
  options.hints.state = Pairs{{"h_in", "h_out"}, {"c_in", "c_out"}};  // what a program says goes before the file
  CHECK_EQUAL(ganglion::explain(folder / "walker.onnx", options).state.size(), 2U);
  fs::remove_all(folder);
}

int main() { return check::run_all(); }
