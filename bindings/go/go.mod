// SPDX-License-Identifier: MIT
module pf-sp.invalid/sp

go 1.19
