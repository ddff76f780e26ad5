"""What a stack carries: load is raised in steps until a promise breaks, and what it cost is told per unit of load."""
