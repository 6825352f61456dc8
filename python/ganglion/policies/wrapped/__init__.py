"""Any `nn.Module` as a recurrent policy: how it is called is found by running it, and its state is put outside."""
