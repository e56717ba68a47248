"""A campaign against the whole program: `make chaos`.

Processes are killed and interrupted, disks are full, files are damaged, build files are changed under a finished run,
inputs are mutated, values are hostile. What may come of it: an error in words, a clean stop, or the same artefacts as
of an undisturbed run. A traceback, or a result that does not belong to what it is shown for, fails the campaign.
"""
