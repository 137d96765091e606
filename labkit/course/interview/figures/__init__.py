"""The numbers of the answers, one small function each: what it is a number of stands in its docstring."""
