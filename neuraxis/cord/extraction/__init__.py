"""Values of maps in the regions of an atlas whose voxels are shared: means, and mixtures taken apart."""
