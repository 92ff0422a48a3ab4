//! Network namespaces, veth links, frames and traffic, for the lab and for the tests.
