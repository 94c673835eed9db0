"""Many plans side by side: compare ways of getting a result, advise between them, and plan the months ahead."""
