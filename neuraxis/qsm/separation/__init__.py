"""Separation of susceptibility: what is paramagnetic (iron) and what is diamagnetic (myelin, calcium) in one voxel."""

from neuraxis.qsm.separation.chi_sep_ilsqr import chi_sep_ilsqr
from neuraxis.qsm.separation.chi_sep_medi import chi_sep_medi
from neuraxis.qsm.separation.r2prime_qsm import r2prime_qsm
from neuraxis.qsm.separation.r2star_qsm import r2star_qsm

METHODS = (chi_sep_medi, chi_sep_ilsqr, r2prime_qsm, r2star_qsm)
