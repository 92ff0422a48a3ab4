//! How large the programs are, and what they cost the verifier: not a tenth more than `docs/bench/programs.json` says.

use std::{collections::BTreeMap, fs, path::Path};

use aya::programs::Program;
use serde_json::{Value, json};

use super::{
    super::OBJECT,
    bench::{SMALL, on_bench},
};

/// What may be more than in the table.
const TOLERANCE: f64 = 1.1;

#[test]
fn the_programs_have_not_grown_by_more_than_a_tenth() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/programs.json");
    let text = fs::read_to_string(&path).expect("the table is there");
    let table: Value = serde_json::from_str(&text).expect("the table is JSON");
    let programs = on_bench(SMALL, |bench| {
        let ebpf = &mut bench.plane.ebpf;
        let names: Vec<_> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
        let measure = |name: String| {
            let program = ebpf.program_mut(&name).expect("the object names it");
            if program.fd().is_err() {
                match program {
                    Program::Xdp(xdp) => xdp.load(),
                    Program::RawTracePoint(tracepoint) => tracepoint.load(),
                    _ => panic!("{name} is of a kind the agent does not load"),
                }
                .expect("the verifier takes it");
            }
            let info = program.info().expect("it is loaded");
            let figures = json!({
                "verified_instructions": info.verified_instruction_count(),
                "instructions": info.size_translated().map(|bytes| bytes / 8),
                "machine_code_bytes": info.size_jitted(),
            });
            (name, figures)
        };
        names.into_iter().map(measure).collect::<BTreeMap<_, _>>()
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux tells");
    let series = kernel.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let arch = std::env::consts::ARCH;
    let mut now = json!({ "kernel": series, "arch": arch, "stack": stack(), "programs": programs });
    println!("{now:#}");
    now["what"] = table["what"].clone();
    let check = |what: &str, value: &Value, known: &Value| {
        let known = known.as_f64().unwrap_or_default();
        assert!(
            value.as_f64().expect("a number") <= known * TOLERANCE,
            "{what} grew from {known} to {value}; if that is meant, {} becomes\n{now:#}",
            path.display()
        );
    };
    check("the stack", &now["stack"], &table["stack"]);
    if now["kernel"] != table["kernel"] || now["arch"] != table["arch"] {
        println!("the table is of another kernel or another machine: only the stack was compared");
        return;
    }
    for (name, figures) in &programs {
        for (figure, value) in figures.as_object().expect("an object") {
            check(&format!("{figure} of {name}"), value, &table["programs"][name][figure]);
        }
    }
}

#[test]
fn every_program_of_the_table_is_one_of_the_object() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/programs.json");
    let text = fs::read_to_string(path).expect("the table is there");
    let table: Value = serde_json::from_str(&text).expect("the table is JSON");
    on_bench(SMALL, |bench| {
        for name in table["programs"].as_object().expect("an object").keys() {
            let program = bench.plane.ebpf.program(name);
            let known = matches!(program, Some(Program::Xdp(_) | Program::RawTracePoint(_)));
            assert!(known, "{name}");
        }
    });
}

/// The deepest frame in the object: the largest distance from the frame pointer, by its instructions.
fn stack() -> u64 {
    const R10: u8 = 10;
    let mut deepest = 0;
    let mut copies = [false; 16];
    for instruction in code() {
        let (opcode, registers) = (instruction[0], instruction[1]);
        let (to, from) = (registers & 15, registers >> 4);
        let offset = i64::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let immediate = &instruction[4..8];
        let immediate = i64::from(i32::from_le_bytes(immediate.try_into().expect("4 bytes")));
        let distance = match opcode & 7 {
            // BPF_LDX reads at its source; BPF_ST and BPF_STX write at their destination.
            1 if from == R10 => offset,
            2 | 3 if to == R10 => offset,
            // BPF_ALU64 | BPF_ADD | BPF_K, on a copy of the frame pointer.
            _ if opcode == 0x07 && copies[usize::from(to)] => immediate,
            _ => 0,
        };
        // BPF_ALU64 | BPF_MOV | BPF_X.
        copies[usize::from(to)] = opcode == 0xbf && from == R10;
        deepest = deepest.max(-distance);
    }
    deepest.cast_unsigned().next_multiple_of(8)
}

/// The instructions of all executable sections (ELF-64 of this machine's byte order, little-endian).
fn code() -> impl Iterator<Item = &'static [u8]> {
    const EXECUTABLE: u64 = 4;
    let word = |at: usize| u64::from_le_bytes(OBJECT[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| usize::from(u16::from_le_bytes([OBJECT[at], OBJECT[at + 1]]));
    let (table, size, count) = (word(0x28) as usize, half(0x3a), half(0x3c));
    let sections = (0..count).map(move |number| table + number * size);
    let executable = sections.filter(move |&section| word(section + 8) & EXECUTABLE != 0);
    executable.flat_map(move |section| {
        let (start, len) = (word(section + 24) as usize, word(section + 32) as usize);
        OBJECT[start..start + len].chunks_exact(8)
    })
}
