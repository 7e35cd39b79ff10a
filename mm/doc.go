// Package mm is the memory of a sandbox: one flat memory, and the address
// spaces that show parts of it to guest programs.
//
// Memory is the flat memory: a sparse memfd, mapped once into the sentry, cut
// into frames of 4 KiB. Everything that a guest can see as memory is in it:
// anonymous pages, the page cache, page tables.
//
// PageCache holds the pages of one file (Linux: struct address_space). read,
// write and mmap all use the same frames, so they agree by construction.
//
// AddressSpace (Linux: struct mm_struct) is regions (Linux: VMAs), which say what
// a guest asked for, and four-level page tables in the processor's own format,
// which say what is mapped where. A platform.AddressSpace is a cache of those
// page tables: an entry with the bit pteShown has been given to it.
//
// # Numbers and bytes
//
// There are several times as many frame numbers as the memory limit allows
// frames in use. That makes it cheap to reserve numbers: when a guest first
// touches a large region, up to 64 MiB of consecutive numbers are set aside for
// the addresses around it (a reservation), and pages get their frames by
// position. Neighbouring pages then share one host mapping, however random the
// order of touching was. A reserved frame that is not in use costs nothing and
// is charged to nobody.
//
// # Platform changes
//
// A call made for a guest thread needs no platform Sync: the thread's next
// Switch puts the change in force for all threads of its address space. Changes
// made from elsewhere (truncate, fork, ptrace) call Sync. Frames that are taken
// out of a page table lose that reference in a function given to After.
//
// # Lock order
//
//	PageCache.wmu            writers, truncate (Linux: i_rwsem); guest memory may be touched under it
//	  PageCache.syncMu       one writeback of a file at a time
//	    PageCache.ioMu       read-held while pages are read in, write-held to remove them
//	      AddressSpace.mu    regions and page tables; copies hold it for reading
//	        PageCache.mapMu  who maps the file (Linux: i_mmap_rwsem)
//	          PageCache.mu   the pages
//	            locks of the platform
//	              Memory.mu  frames, reservations, free blocks
//	              stage.mu   only tried; a file is read while it is held, and nothing else is locked
//	              texts.mu   which text is to be in large pages; texts.working is held with no other but it, and by Close
//
// Two address spaces are never locked at once, but by Fork, which locks the
// parent and then the child that nobody else knows yet, and by a platform that has
// two exchange pages (platform.Memory): it has locks of its own then, and only
// tries these. Truncate needs the
// address spaces that map the file while faults hold theirs and want the page
// cache: it sets the new size first, then copies the list under mapMu, lets go of
// mapMu, and visits one address space after the other. A fault that comes later
// sees the new size.
//
// No lock but wmu is held while guest memory is touched on behalf of a transfer:
// pages are pinned by a reference instead. A fault that needs file contents gives
// up AddressSpace.mu, has the page cache read them, and begins again. Shrinkers
// and the OOM killer are called with none of the locks from AddressSpace.mu down
// held; the page cache's shrinker only tries locks.
//
// mm imports platform, mm/usermem, x/sys/unix and tidwall/btree, and knows no
// files, tasks or signals.
package mm
