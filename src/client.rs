//! The tutorial's three clients.
