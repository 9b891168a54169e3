"""What a crash or a power cut may leave of our files, at every moment, and whether we live with it.

`recorder.c` writes down what a program asks of the file system, `recording` runs it, `disk` makes
of a part of that record every directory that a crash could leave, and `scenarios` are the programs.
"""
