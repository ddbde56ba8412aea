"""TP4's classification of abc-parametrizations, measured: exponents, the dichotomy, convergence to the limits."""
