//! Type of a prepared operation.

/// A prepared operation, with its input data. Each call of the closure runs the operation once.
pub type Repeat = Box<dyn FnMut()>;
