"""What runs inside the training process: the run, save rules, links and pins, the run's own files, its end.

It writes the run directory and reads the syncer's log; it never touches the network. (The package is not called
``run`` because ``holdfast.run`` is the run under way.)
"""
