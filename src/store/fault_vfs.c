// SPDX-License-Identifier: Apache-2.0
#include "store/fault_vfs.h"

#include <errno.h>
#include <sqlite3.h>

#include "base/macro.h"

struct fault_file {
        sqlite3_file base;
        sqlite3_file *real; /* follows in the same allocation */
};

struct fault_vfs fault_vfs;
static sqlite3_vfs wrapper;
static sqlite3_vfs *original;

static sqlite3_file *real_of(sqlite3_file *file)
{
        return container_of(file, struct fault_file, base)->real;
}

static bool is_due(bool is_write)
{
        fault_vfs.calls++;
        if (fault_vfs.countdown == 0 || (fault_vfs.full && !is_write))
                return false;
        if (fault_vfs.countdown > 1) {
                fault_vfs.countdown--;
                return false;
        }
        if (!fault_vfs.lasting)
                fault_vfs.countdown = 0;
        fault_vfs.failures++;
        return true;
}

void fault_vfs_reset(void)
{
        fault_vfs.countdown = 0;
        fault_vfs.lasting = false;
        fault_vfs.full = false;
        fault_vfs.calls = 0;
        fault_vfs.failures = 0;
}

static int fault_close(sqlite3_file *file)
{
        sqlite3_file *real = real_of(file);

        return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int fault_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
        return real_of(file)->pMethods->xRead(real_of(file), data, size, offset);
}

static int fault_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
        if (is_due(true)) {
                /* Half of it may have reached the disk. */
                if (size > 1)
                        real_of(file)->pMethods->xWrite(real_of(file), data, size / 2, offset);
                return fault_vfs.full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        }
        return real_of(file)->pMethods->xWrite(real_of(file), data, size, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
        return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
        if (is_due(false))
                return SQLITE_IOERR_FSYNC;
        return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int fault_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
        return real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int fault_lock(sqlite3_file *file, int level)
{
        return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
        return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int fault_check_lock(sqlite3_file *file, int *ret_locked)
{
        return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_locked);
}

static int fault_control(sqlite3_file *file, int operation, void *argument)
{
        return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int fault_sector_size(sqlite3_file *file)
{
        return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int fault_characteristics(sqlite3_file *file)
{
        return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* Version 1 has no shared memory, which exclusive locking does not need. */
static const sqlite3_io_methods methods = {
        .iVersion = 1,
        .xClose = fault_close,
        .xRead = fault_read,
        .xWrite = fault_write,
        .xTruncate = fault_truncate,
        .xSync = fault_sync,
        .xFileSize = fault_size,
        .xLock = fault_lock,
        .xUnlock = fault_unlock,
        .xCheckReservedLock = fault_check_lock,
        .xFileControl = fault_control,
        .xSectorSize = fault_sector_size,
        .xDeviceCharacteristics = fault_characteristics,
};

static int fault_open(sqlite3_vfs *vfs _unused_, const char *path, sqlite3_file *base, int flags,
                      int *ret_flags)
{
        struct fault_file *file = container_of(base, struct fault_file, base);
        int code;

        file->real = (sqlite3_file *)(void *)(file + 1);
        code = original->xOpen(original, path, file->real, flags, ret_flags);
        file->base.pMethods = file->real->pMethods ? &methods : NULL;
        return code;
}

int fault_vfs_register(void)
{
        original = sqlite3_vfs_find(NULL);
        if (!original)
                return -ENOSYS;
        wrapper = *original;
        wrapper.zName = FAULT_VFS;
        wrapper.szOsFile = (int)sizeof(struct fault_file) + original->szOsFile;
        wrapper.xOpen = fault_open;
        return sqlite3_vfs_register(&wrapper, 0) == SQLITE_OK ? 0 : -ENOMEM;
}
