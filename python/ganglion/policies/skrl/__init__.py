"""Models and mixins of skrl, whole."""
