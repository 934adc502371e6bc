//! Compiles the steering programs for the kernel.

use std::{env, path::PathBuf};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let source =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    println!("cargo:rerun-if-changed={}", source.join("steer.h").display());
    for program in ["uplink", "workload"] {
        let file = source.join(format!("{program}.bpf.c"));
        println!("cargo:rerun-if-changed={}", file.display());
        let built = SkeletonBuilder::new()
            .source(&file)
            .obj(out.join(format!("{program}.o")))
            // Debian keeps asm/types.h under the multiarch triple, which clang does not search
            // for the BPF target.
            .clang_args([format!("-I/usr/include/{arch}-linux-gnu"), "-Wall".into()])
            .build();
        if let Err(error) = built {
            panic!("{}: {error:#}\n(needs clang and libbpf-dev)", file.display());
        }
    }
}
