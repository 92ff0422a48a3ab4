//! What would be bypassed.
