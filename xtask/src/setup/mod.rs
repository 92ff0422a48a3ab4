//! Makes ready what cargo takes for granted: a compiler and a linker for BPF, and the commands of the lab and the tests.
//!
//! Nothing is remembered between calls: looking takes a tenth of a second, and a memory could be wrong.

mod apt;
mod commands;
mod compiler;
mod linker;

use anyhow::Result;

use compiler::Compiler;
pub(crate) use compiler::TARGET;

/// What it takes to build the BPF object.
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The linker.
    pub(crate) linker: linker::Linker,
}

/// Everything, for building, running and testing.
pub(crate) fn everything() -> Result<()> {
    if crate::bpf::handed_in().is_none() {
        toolchain()?;
    }
    tests()
}

/// What building the BPF object needs.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let compiler = compiler::ready()?;
    say(&format!("BPF compiler: {compiler}"));
    let linker = linker::ready(&compiler)?;
    say(&format!("BPF linker: {linker}"));
    Ok(Toolchain { compiler, linker })
}

/// What the lab needs.
pub(crate) fn lab() -> Result<()> {
    commands::ready(&commands::LAB)
}

/// What the lab and the tests need.
pub(crate) fn tests() -> Result<()> {
    commands::ready(&[commands::LAB.as_slice(), &commands::TESTS].concat())
}

/// What the bench needs; a real full table, if one is to be measured.
pub(crate) fn bench(full_table: bool) -> Result<()> {
    commands::ready(&commands::LAB)?;
    if full_table { commands::full_table() } else { Ok(()) }
}

/// What running another kernel needs.
pub(crate) fn virtual_machine() -> Result<()> {
    commands::ready(&commands::VIRTUAL_MACHINE)
}

/// Tells the developer on stderr.
fn say(line: &str) {
    eprintln!("setup: {line}");
}
