/* tests/comm/played_nccl_stop.h - how a rank of played_nccl_module.c gets stuck when no machine's speed decides.
 *
 * LMB_PLAYED_STOP=FILE: rank 1 stops where it should meet the others, as soon as the file is there (a checkpoint, say);
 * FILE.stopped then says that it has, and later runs go on.
 */
static void stop_once(int rank)
{
    const char *file = getenv("LMB_PLAYED_STOP");
    char mark[500];

    if (!file || rank != 1 || access(file, F_OK) != 0)
        return;
    snprintf(mark, sizeof mark, "%s.stopped", file);
    int fd = open(mark, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0)
        return;
    close(fd);
    raise(SIGSTOP);
}
