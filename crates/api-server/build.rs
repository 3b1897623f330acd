//! What the crate takes in when it is built.

#[path = "build/provenance.rs"]
mod provenance;
#[path = "build/swagger_ui.rs"]
mod swagger_ui;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    provenance::tell();
    swagger_ui::unpack()
}
