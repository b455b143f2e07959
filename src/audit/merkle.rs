//! The Merkle tree of RFC 6962 (2.1) over the traces of a node: what was written is what is there.

use aws_lc_rs::digest;

/// SHA-256.
pub type Hash = [u8; 32];

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// All that has to be remembered of a tree to go on with it: the roots of its perfect subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One more leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each one at the end of the old size is a subtree as large as the new one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The root; of no leaves, the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        match subtrees.next() {
            None => sha256(&[]),
            Some(last) => subtrees.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// As bytes, to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for subtree in &self.subtrees {
            bytes.extend_from_slice(subtree);
        }
        bytes
    }

    /// From bytes; `None` where they are none of a frontier's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (subtrees, rest) = rest.as_chunks::<32>();
        let whole = rest.is_empty() && subtrees.len() as u64 == u64::from(size.count_ones());
        whole.then(|| Self { size, subtrees: subtrees.to_vec() })
    }
}

/// The root of the tree over these leaves.
fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The largest power of two below a number of leaves, of which there are two at least.
fn split(leaves: usize) -> usize {
    1 << (usize::BITS - 1 - (leaves - 1).leading_zeros())
}

/// RFC 6962, 2.1.1: that the leaf of this index is in the tree over these leaves. `None`: there is no such leaf.
pub fn inclusion_proof(index: usize, leaves: &[Hash]) -> Option<Vec<Hash>> {
    fn path(index: usize, leaves: &[Hash], proof: &mut Vec<Hash>) {
        if leaves.len() < 2 {
            return;
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path(index, left, proof);
            proof.push(root_of(right));
        } else {
            path(index - left.len(), right, proof);
            proof.push(root_of(left));
        }
    }
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    path(index, leaves, &mut proof);
    Some(proof)
}

/// RFC 6962, 2.1.2: that the tree over the first leaves, so many of them, is the beginning of the tree over all. `None`: there are not so many.
pub fn consistency_proof(older: usize, leaves: &[Hash]) -> Option<Vec<Hash>> {
    fn subproof(older: usize, leaves: &[Hash], is_whole: bool, proof: &mut Vec<Hash>) {
        if older == leaves.len() {
            if !is_whole {
                proof.push(root_of(leaves));
            }
            return;
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if older <= left.len() {
            subproof(older, left, is_whole, proof);
            proof.push(root_of(right));
        } else {
            subproof(older - left.len(), right, false, proof);
            proof.push(root_of(left));
        }
    }
    if older > leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    if older > 0 {
        subproof(older, leaves, true, &mut proof);
    }
    Some(proof)
}

/// Whether a proof shows that a leaf stands at an index of a tree (RFC 9162, 2.1.3.2).
pub fn is_included(index: u64, size: u64, leaf: Hash, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that one tree is the beginning of another (RFC 9162, 2.1.4.2).
pub fn is_consistent(older: (u64, &Hash), newer: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (older, newer);
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty();
    }
    let whole = old_size.is_power_of_two().then_some(*old_root);
    let mut path = whole.into_iter().chain(proof.iter().copied());
    let Some(first) = path.next() else { return false };
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (first, first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            (old, new) = (node_hash(&sibling, &old), node_hash(&sibling, &new));
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, &sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Hash {
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        hash
    }

    /// The leaves and roots of Certificate Transparency's own test (`merkle_tree_test.cc`).
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (leaf, root) in leaves.iter().zip(roots) {
            frontier.push(leaf_hash(leaf));
            assert_eq!(frontier.root(), hex(root));
            assert_eq!(Frontier::from_bytes(&frontier.to_bytes()).as_ref(), Some(&frontier));
        }
        assert_eq!(frontier.size(), 8);
        let bytes = frontier.to_bytes();
        assert_eq!(Frontier::from_bytes(&bytes[1..]), None);
        assert_eq!(Frontier::from_bytes(&[bytes.as_slice(), &[0; 32]].concat()), None);
    }

    /// Every proof of every tree of up to 40 leaves holds, and none that was changed.
    #[test]
    fn proofs_hold_and_others_do_not() {
        let all: Vec<Hash> = (0..40u8).map(|leaf| leaf_hash(&[leaf])).collect();
        let wrong = leaf_hash(b"wrong");
        for size in 1..=all.len() {
            let leaves = &all[..size];
            let root = root_of(leaves);
            for index in 0..size {
                let proof = inclusion_proof(index, leaves).unwrap();
                let holds = |index: usize, leaf: Hash, proof: &[Hash], root: &Hash| {
                    is_included(index as u64, size as u64, leaf, proof, root)
                };
                assert!(holds(index, leaves[index], &proof, &root));
                assert!(!holds(index, wrong, &proof, &root));
                assert!(!holds(index, leaves[index], &proof, &wrong));
                assert!(size == 1 || !holds((index + 1) % size, leaves[index], &proof, &root));
                for place in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[place] = wrong;
                    assert!(!holds(index, leaves[index], &changed, &root));
                    changed.remove(place);
                    assert!(!holds(index, leaves[index], &changed, &root));
                }
            }
            assert_eq!(inclusion_proof(size, leaves), None);
            for older in 0..=size {
                let proof = consistency_proof(older, leaves).unwrap();
                let old_root = root_of(&all[..older]);
                let holds = |old_root: &Hash, root: &Hash, proof: &[Hash]| {
                    is_consistent((older as u64, old_root), (size as u64, root), proof)
                };
                assert!(holds(&old_root, &root, &proof), "{older} of {size}");
                if older > 0 {
                    assert!(!holds(&wrong, &root, &proof) && !holds(&old_root, &wrong, &proof));
                }
                for place in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[place] = wrong;
                    assert!(!holds(&old_root, &root, &changed), "{older} of {size}");
                }
            }
            assert_eq!(consistency_proof(size + 1, leaves), None);
        }
    }
}
