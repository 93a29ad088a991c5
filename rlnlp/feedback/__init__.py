"""What people say of responses: where it is kept, who says it, how it is asked, and what it is worth."""
