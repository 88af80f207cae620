"""What bytes mean: element types, values, quantised blocks, shapes."""
