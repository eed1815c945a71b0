"""The brain's regions: registration to the template, labels and probabilities, statistics of maps in every region."""
