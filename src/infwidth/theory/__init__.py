"""TP4's classification of abc-parametrizations, measured: exponents, the Dynamical Dichotomy, convergence to the limits."""
