"""An infinitely wide network that learns features, in ten lines: digits, with no key but the sizes."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import infwidth as iw

x, test_x, y, test_y = train_test_split(*load_digits(return_X_y=True), random_state=0)
limit = iw.pi_limit(inputs=64, outputs=10)
print(iw.fit(limit, x, y))
print(f"limit: {iw.accuracy(limit, test_x, test_y):.1f} % on the test")
net = iw.sample(limit, width=2048)  # a finite network with the same function, up to width^-1/2
print(f"drawn from it: {iw.accuracy(net, test_x, test_y):.1f} %")
