"""Dipole inversion: from the local field to the susceptibility that makes it."""

from neuraxis.qsm.inversion.fansi_tgv import fansi_tgv
from neuraxis.qsm.inversion.fansi_tv import fansi_tv
from neuraxis.qsm.inversion.hdqsm import hdqsm
from neuraxis.qsm.inversion.ilsqr import ilsqr
from neuraxis.qsm.inversion.l1qsm import l1qsm
from neuraxis.qsm.inversion.learned import learned
from neuraxis.qsm.inversion.lsqr import lsqr
from neuraxis.qsm.inversion.medi import medi
from neuraxis.qsm.inversion.ndi import ndi
from neuraxis.qsm.inversion.nextqsm import nextqsm
from neuraxis.qsm.inversion.nltv import nltv
from neuraxis.qsm.inversion.qsmart import qsmart
from neuraxis.qsm.inversion.rts import rts
from neuraxis.qsm.inversion.star import star
from neuraxis.qsm.inversion.tfi import tfi
from neuraxis.qsm.inversion.tgv import tgv
from neuraxis.qsm.inversion.tikhonov import tikhonov
from neuraxis.qsm.inversion.tkd import tkd
from neuraxis.qsm.inversion.tsvd import tsvd
from neuraxis.qsm.inversion.tv import tv
from neuraxis.qsm.inversion.whqsm import whqsm

METHODS = (
    whqsm,
    rts,
    tkd,
    tikhonov,
    tgv,
    tfi,
    ndi,
    fansi_tv,
    fansi_tgv,
    l1qsm,
    medi,
    tsvd,
    tv,
    nltv,
    hdqsm,
    star,
    lsqr,
    ilsqr,
    qsmart,
    learned,
    nextqsm,
)
