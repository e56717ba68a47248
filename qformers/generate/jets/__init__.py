"""Jets from Pythia 8 and FastJet, with a parametric detector, in the two public file layouts."""
