//! One YAML library behind one module: Go-yaml's quirks, errors with line and column
