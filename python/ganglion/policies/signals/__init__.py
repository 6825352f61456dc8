"""What stands before and behind a network in a control loop, as parts with memory: histories and filters."""
