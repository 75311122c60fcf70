"""Pictures of digits by anybody, to images in MNIST's form.

A picture goes through the modules in this order: opening.py opens a file, rules.py removes the lines of ruled paper
and shadows.py hard shadows, ink.py tells ink from paper, segment.py cuts out the digits, marks.py parts those that
touch and names what is no digit, mnist_form.py brings each into 28x28 pixels. `segment.read` does all of it.
"""
