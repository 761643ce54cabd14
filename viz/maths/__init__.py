"""What a graph computes and how its gradients come about, in words, plain text and LaTeX."""
