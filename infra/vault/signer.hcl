# The signer's role: it seals and opens its wallet's seed and lets its accounts' keys sign.
# It makes, reads, rotates, exports and deletes no key. WALLET is the wallet's name.
path "transit/encrypt/WALLET-seeds"  { capabilities = ["update"] }
path "transit/decrypt/WALLET-seeds"  { capabilities = ["update"] }
path "transit/sign/WALLET-deposits"  { capabilities = ["update"] }
path "transit/sign/WALLET-hot"       { capabilities = ["update"] }
path "transit/sign/WALLET-gas"       { capabilities = ["update"] }
path "transit/sign/WALLET-cold"      { capabilities = ["update"] }
