"""From the nodes of an ONNX graph to operations: one file for each kind of operation."""
