"""Who asks, and what they may do: tokens, sign-in by an organisation, projects with budgets, and the audit log."""
