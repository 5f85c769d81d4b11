# The operators' role: it makes, rotates and retires keys. It opens no seed and signs nothing.
path "transit/keys/WALLET-seeds"         { capabilities = ["create", "read", "update"] }
path "transit/keys/WALLET-seeds/rotate"  { capabilities = ["update"] }
path "transit/keys/WALLET-seeds/config"  { capabilities = ["update"] }
path "transit/keys/WALLET-deposits"      { capabilities = ["create", "read", "update"] }
path "transit/keys/WALLET-hot"           { capabilities = ["create", "read", "update"] }
path "transit/keys/WALLET-gas"           { capabilities = ["create", "read", "update"] }
path "transit/keys/WALLET-cold"          { capabilities = ["create", "read", "update"] }
