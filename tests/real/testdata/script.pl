# Regular expressions, hashes, sorting, processes, pipes, signals, sockets and files, from Perl.
use strict;
use warnings;
use IO::Handle;
use IO::Select;
use Socket;
use POSIX ":sys_wait_h";
use Fcntl qw(:flock SEEK_SET);
use File::Temp qw(tempdir);
use Time::HiRes qw(sleep time);
$| = 1;
my %count;
$count{length $_}++ for split /\W+/, "the quick brown fox jumps over the lazy dog and runs away";
print join(" ", map {"$_:$count{$_}"} sort { $a <=> $b } keys %count), "\n";
my $t = "2024-01-02T03:04:05";
print "$3/$2/$1\n" if $t =~ /^(\d+)-(\d+)-(\d+)T/;
(my $r = "hello") =~ tr/a-y/b-z/;
print "$r ", scalar reverse("abc"), " ", join(",", sort { $b <=> $a } (3, 10, 2)), "\n";
my @kids;
for my $i (1 .. 5) {
    my $pid = fork // die;
    if (!$pid) { sleep(0.01 * (6 - $i)); POSIX::_exit($i) }
    push @kids, $pid;
}
my $sum = 0;
while ((my $p = waitpid(-1, 0)) > 0) { $sum += $? >> 8 }
print "children $sum\n";
pipe(my $rd, my $wr);
if (!fork) { close $rd; print $wr "line $_\n" for 1 .. 1000; close $wr; POSIX::_exit(0) }
close $wr;
my $n = 0;
$n++ while <$rd>;
wait;
print "lines $n\n";
print "backtick: ", `echo from shell; exit 3`, "status ", $? >> 8, "\n";
open(my $out, "|-", "sort -n | tail -1") or die;
print $out "$_\n" for 5, 100, 20;
close $out;
my $got = 0;
local $SIG{USR1} = sub { $got++ };
kill USR1 => $$ for 1 .. 3;
print "signals ", $got > 0 ? "yes" : "no", "\n";
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; select(undef, undef, undef, 5); alarm 0; };
print "died: $@";
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
$a->autoflush(1);
print $a "through a socket\n";
print scalar <$b>;
my $dir = tempdir(CLEANUP => 1, DIR => ".");
for my $i (1 .. 50) { open(my $f, ">", "$dir/$i") or die; print $f $i x 10; close $f }
opendir(my $d, $dir) or die;
print scalar(grep { !/^\./ } readdir $d), " files, size ", -s "$dir/50", "\n";
open(my $f, "+>", "$dir/lock") or die;
flock($f, LOCK_EX) or die;
if (!fork) { open(my $g, "<", "$dir/lock"); POSIX::_exit(flock($g, LOCK_EX | LOCK_NB) ? 1 : 0) }
wait;
print "locked out: ", $? >> 8, "\n";
my @stat = stat "$dir/1";
printf "%o %d\n", $stat[2], $stat[7];
rename "$dir/1", "$dir/renamed" or die;
print -e "$dir/1" ? "still" : "gone", " ", (unlink glob "$dir/*"), "\n";
print "exists\n" unless eval { exec { "/no/such" } "x"; 1 };
exit 13;
