//! Where the running kernel keeps the members of its structures, from its own type information.
//!
//! aya reads the same, but keeps the members to itself.

use anyhow::{Context as _, Result, anyhow, bail};

/// The kernel's own type information.
pub(super) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Kinds (include/uapi/linux/btf.h).
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Type information as the kernel lays it out (Documentation/bpf/btf.rst), of the machine's own byte order.
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins, by id; there is no id 0.
    starts: Vec<u32>,
}

impl<'a> Btf<'a> {
    /// Finds the types.
    ///
    /// # Errors
    ///
    /// If this is no BTF, or of a kind that is not known here.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        if half(bytes, 0)? != MAGIC {
            bail!("it does not begin as BTF of this machine does");
        }
        let header = word(bytes, 4)? as usize;
        let section = |offset, len| -> Result<&'a [u8]> {
            let from = header + word(bytes, offset)? as usize;
            let to = from + word(bytes, len)? as usize;
            bytes.get(from..to).context("a section ends behind its end")
        };
        let (types, strings) = (section(8, 12)?, section(16, 20)?);
        let mut starts = vec![0];
        let mut at = 0;
        while at < types.len() {
            starts.push(at as u32);
            let info = word(types, at + 4)?;
            at += 12 + extra(info)?;
        }
        Ok(Self { types, strings, starts })
    }

    /// Offset in bytes of a member of a structure, or of a member of a member. Members of unnamed members count as the
    /// structure's own.
    ///
    /// # Errors
    ///
    /// Names the structure or member that is not there.
    pub(super) fn offset(&self, structure: &str, members: &[&str]) -> Result<u32> {
        let mut id = (1..self.starts.len())
            .find(|id| self.is_named(*id, structure))
            .ok_or_else(|| anyhow!("it has no struct {structure}"))?;
        let mut bits = 0;
        for name in members {
            let (offset, of) = self
                .member(id, name)?
                .ok_or_else(|| anyhow!("struct {structure} has no {}", members.join(".")))?;
            bits += offset;
            id = of;
        }
        Ok(bits / 8)
    }

    fn is_named(&self, id: usize, name: &str) -> bool {
        let at = self.starts[id] as usize;
        word(self.types, at + 4).is_ok_and(|info| kind(info) == STRUCT)
            && word(self.types, at).is_ok_and(|offset| self.is_string(offset, name))
    }

    fn is_string(&self, offset: u32, text: &str) -> bool {
        let rest =
            self.strings.get(offset as usize..).and_then(|at| at.strip_prefix(text.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Offset in bits and type of a member.
    fn member(&self, id: usize, name: &str) -> Result<Option<(u32, usize)>> {
        let at = self.resolved(id)?;
        let info = word(self.types, at + 4)?;
        if !matches!(kind(info), STRUCT | UNION) {
            return Ok(None);
        }
        for member in (at + 12..).step_by(12).take((info & 0xffff) as usize) {
            let (its_name, of) =
                (word(self.types, member)?, word(self.types, member + 4)? as usize);
            let bits = word(self.types, member + 8)?;
            // With this flag the upper bits tell the width of a bit field.
            let bits = if info >> 31 == 1 { bits & 0x00ff_ffff } else { bits };
            if self.is_string(its_name, name) {
                return Ok(Some((bits, of)));
            }
            if self.is_string(its_name, "")
                && let Some((inner, of)) = self.member(of, name)?
            {
                return Ok(Some((bits + inner, of)));
            }
        }
        Ok(None)
    }

    /// Where the type begins that is behind a name or a qualifier.
    fn resolved(&self, mut id: usize) -> Result<usize> {
        /// `typedef`, `volatile`, `const`, `restrict`, type tag.
        const ALIASES: [u32; 5] = [8, 9, 10, 11, 18];
        loop {
            let at = *self.starts.get(id).context("a type is not there")? as usize;
            if !ALIASES.contains(&kind(word(self.types, at + 4)?)) {
                return Ok(at);
            }
            id = word(self.types, at + 8)? as usize;
        }
    }
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes behind the first twelve of a type.
fn extra(info: u32) -> Result<usize> {
    let members = (info & 0xffff) as usize;
    Ok(match kind(info) {
        // Pointers, forward declarations, aliases, functions, floats.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, 64-bit enumerations.
        STRUCT | UNION | 15 | 19 => 12 * members,
        // Enumerations, prototypes.
        6 | 13 => 8 * members,
        unknown => bail!("it has a type of an unknown kind ({unknown})"),
    })
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..at + 4).and_then(|found| found.try_into().ok());
    found.map(u32::from_ne_bytes).context("it ends too early")
}

fn half(bytes: &[u8], at: usize) -> Result<u16> {
    let found = bytes.get(at..at + 2).and_then(|found| found.try_into().ok());
    found.map(u16::from_ne_bytes).context("it ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int first; struct { alias inner; }; }; typedef struct { int deep; } alias;`
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0first\0inner\0deep\0alias\0";
        let name = |text: &str| {
            let found = strings.windows(text.len()).position(|window| window == text.as_bytes());
            found.unwrap() as u32
        };
        let a_struct = |members: u32| STRUCT << 24 | members;
        let types = [
            vec![0, 1 << 24, 4, 32],
            vec![name("outer"), a_struct(2), 16, name("first"), 1, 0, 0, 3, 32],
            vec![0, a_struct(1), 8, name("inner"), 4, 32],
            vec![name("alias"), 8 << 24, 5],
            vec![0, a_struct(1), 4, name("deep"), 1, 16],
        ]
        .concat();
        let len = types.len() as u32 * 4;
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, len, len, strings.len() as u32];
        let words = header.iter().chain(&types);
        words.flat_map(|word| word.to_ne_bytes()).chain(*strings).collect()
    }

    #[test]
    fn a_member_is_found_through_unnamed_members_and_aliases() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("outer", &["first"]).unwrap(), 0);
        assert_eq!(btf.offset("outer", &["inner"]).unwrap(), 8);
        assert_eq!(btf.offset("outer", &["inner", "deep"]).unwrap(), 10);
        for missing in [["first", "deep"], ["inner", "first"]] {
            let error = btf.offset("outer", &missing).unwrap_err().to_string();
            assert_eq!(error, format!("struct outer has no {}", missing.join(".")));
        }
        let error = btf.offset("alias", &["deep"]).unwrap_err().to_string();
        assert_eq!(error, "it has no struct alias");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(Btf::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_running_kernel_tells_where_it_keeps_the_index_of_a_device() {
        let bytes = std::fs::read(KERNEL).unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        assert!(btf.offset("net_device", &["ifindex"]).unwrap() > 0);
        assert!(btf.offset("net", &["ns", "inum"]).unwrap() > 0);
    }
}
