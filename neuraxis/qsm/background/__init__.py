"""Background removal: from the total field to the part of it that tissue inside the mask makes."""

from neuraxis.qsm.background.pdf import pdf
from neuraxis.qsm.background.vsharp import vsharp

METHODS = (pdf, vsharp)
