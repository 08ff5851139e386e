"""What the LMs are asked: DSPy signatures, modules and the adapter that sends them."""
