"""Parts of `resize`: what it is asked for, how old elements lie in the new shape, what fills the rest, and what follows a parameter."""
