"""Background removal: from the total field to the part of it that tissue inside the mask makes."""

from neuraxis.qsm.background.harperella import harperella
from neuraxis.qsm.background.iharperella import iharperella
from neuraxis.qsm.background.ismv import ismv
from neuraxis.qsm.background.lbv import lbv
from neuraxis.qsm.background.pdf import pdf
from neuraxis.qsm.background.resharp import resharp
from neuraxis.qsm.background.sdf import sdf
from neuraxis.qsm.background.sharp import sharp
from neuraxis.qsm.background.smv import smv
from neuraxis.qsm.background.vsharp import vsharp

METHODS = (lbv, pdf, vsharp, sharp, resharp, ismv, smv, sdf, harperella, iharperella)
