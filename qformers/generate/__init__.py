"""Jets from Pythia 8 and FastJet, with a parametric detector, in the two public file layouts.

Needs the optional extra ``datagen``; nothing here imports pythia8mc or fastjet before it is used.
"""
