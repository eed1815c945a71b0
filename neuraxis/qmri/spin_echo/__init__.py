"""Spin-echo relaxometry: R2 and T2 from the echoes of a multi-echo spin echo."""

from neuraxis.qmri.spin_echo.epg_dictionary import epg_dictionary

METHODS = (epg_dictionary,)
