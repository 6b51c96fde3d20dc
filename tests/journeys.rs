//! Whole journeys, driven the way a user would: the binary, files, HTTP.

mod architecture;
