//! Build script. Sets environment variables that contain the compiler version and the commit, and
//! extracts the files of Swagger UI.

#[path = "build/provenance.rs"]
mod provenance;
#[path = "build/swagger_ui.rs"]
mod swagger_ui;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    provenance::set_env();
    swagger_ui::unpack()
}
