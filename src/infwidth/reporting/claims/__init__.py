"""The papers' claims, decided by the records that the tables stand on.

``experiments/<name>/claims.yaml`` states them (:mod:`.claim`), each by a kind of check (:mod:`.rows`,
:mod:`.theory`) on means with 95 % intervals (:mod:`.estimate`); :mod:`.verdict` says what became of each.
"""
